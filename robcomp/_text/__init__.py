"""Words: conditions as text, reasons, suggestions for misspelt names, numbers, one-line errors,
warnings, networks that only guess, published sentences.

`parameters` reads what the parameters of a function mean, for `help` and for the site.
"""
