"""What every cloud promises: nouns, capabilities, client protocols, errors, and the checks that hold them to it."""
