"""Programs that use generated clients of the API. Each prints what it read as JSON: `program URL RECORDING`."""
