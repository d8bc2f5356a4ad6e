"""What can be managed: one file a kind, pure planning first, then the calls that carry it out."""
