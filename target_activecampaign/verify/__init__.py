"""`--verify`: settle open facts about ActiveCampaign's API by experiments on an account."""
