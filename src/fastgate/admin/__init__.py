"""The admin API: mutations by POST, status, explanations."""
