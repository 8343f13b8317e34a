"""Words: conditions as text, reasons, suggestions for misspelt names, numbers, errors in one line, published sentences."""
