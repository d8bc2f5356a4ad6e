"""The simulated cloud over HTTP: each face speaks one provider's API, with its bodies, quirks and errors."""
