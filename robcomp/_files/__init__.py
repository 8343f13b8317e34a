"""Files and progress: whole or absent, checked, fetched, read without running code, announced while they are made."""
