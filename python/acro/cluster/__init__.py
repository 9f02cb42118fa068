"""Many runs on Ray: sweeps, their tables and their reports."""
