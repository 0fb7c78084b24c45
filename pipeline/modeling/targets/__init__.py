"""What is made for each kind of machine, all from one float graph."""
