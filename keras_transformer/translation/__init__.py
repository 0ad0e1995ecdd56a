"""From strings to strings: what `Translator` is made of."""
