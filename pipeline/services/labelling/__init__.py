"""The cycle's way to annotators and back: set the project up, push tasks, pull what people said, say what waits."""
