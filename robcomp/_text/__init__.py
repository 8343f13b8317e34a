"""Words: conditions as text, reasons, suggestions for misspelt names, numbers, one-line errors, published sentences."""
