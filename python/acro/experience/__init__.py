"""Where data comes from: the LightningDataModule, the collector, exploration."""
