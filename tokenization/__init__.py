"""Text -> ids -> text for OpenAI GPT; arrives with the tokenizer."""
