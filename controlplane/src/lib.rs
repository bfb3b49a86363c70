//! The control plane: configuration, API, key checks, events, metrics.
