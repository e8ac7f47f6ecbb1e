//! Making OTLP fit for a destination: temporality, kinds of histograms, limits on attributes, age.
