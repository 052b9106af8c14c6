"""From a hospital's PACS into a folder of the site: what is asked for, how it comes, where it lies."""
