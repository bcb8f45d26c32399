"""The rows of scripts/hostile, by what they are about, and the bench that they run on."""
