"""The commands, a module for each concern; what is heavy is imported when it is used."""
