"""Where texts come from: files, pipes, lists, generators and columns of tables."""
