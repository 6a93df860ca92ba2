"""A Singer target that keeps an ActiveCampaign list in sync with the profiles of any tap."""
