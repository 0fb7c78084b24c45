"""Files: tables, shards, images, video, annotation formats."""
