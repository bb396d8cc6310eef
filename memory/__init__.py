"""The MA-LMM bank, chapters, the database, the index and recall: what is remembered."""
