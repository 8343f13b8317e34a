"""What is looked at: charts, pictures, pages, the explorer of the site, the reference."""
