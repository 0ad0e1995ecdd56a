"""What users give: checks of numbers, kinds and paths, names of options, and blank texts."""
