"""The transport: sends signed requests over HTTPS, and sorts what can go wrong into not sent and unknown."""
