"""What turns a speaker's audio into the other party's audio."""
