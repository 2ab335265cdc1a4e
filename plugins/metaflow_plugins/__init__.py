"""The plugins that come with the distribution."""
