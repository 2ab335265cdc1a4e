"""Where artifacts and logs are kept."""
