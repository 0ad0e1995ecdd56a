"""What users give: checks of arguments, names of options, blank texts, and texts from files, lists and tables."""
