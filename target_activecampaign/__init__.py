"""A Singer target that keeps an ActiveCampaign list in step with any tap's profiles."""
