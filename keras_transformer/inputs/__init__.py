"""What users give: checks of numbers, kinds, paths and tokenizers, names of options, and blank texts."""
