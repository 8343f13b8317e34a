"""Words: conditions as text, reasons, suggestions for misspelt names, errors in one line, published sentences."""
