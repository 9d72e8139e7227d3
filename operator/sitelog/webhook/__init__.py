"""Process 1, `sitelog webhook`: admission reviews in, patches and refusals out. Reads policies only."""
