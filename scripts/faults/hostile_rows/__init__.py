"""The rows of scripts/faults/hostile, by what they are about, and the bench that they run on."""
