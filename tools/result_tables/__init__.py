"""Tables of results in Markdown, from the records in results/ and pretrained/."""
