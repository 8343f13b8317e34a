"""Words: conditions as text, reasons, suggestions for misspelt names, numbers, one-line errors, published sentences.

`parameters` reads what the parameters of a function mean, for `help` and for the site.
"""
