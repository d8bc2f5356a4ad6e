"""What every client has to do, as questions put to a living one; `suites` runs them in order."""
