"""Looking into a pair of models: token views, and what they attend to before a fact."""
