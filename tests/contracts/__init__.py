"""What every adapter of a store must hold: a contract is a class of tests, run on each system by a subclass."""
