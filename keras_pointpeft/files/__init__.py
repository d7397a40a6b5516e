"""Files written whole or not at all, downloads, hubs, folders of presets."""
