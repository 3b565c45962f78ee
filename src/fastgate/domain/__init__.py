"""What is true: tokens, regions, routes, revocations, verdicts. No I/O, no clock."""
