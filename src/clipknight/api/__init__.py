"""What `import clipknight` offers: see docs/api.md."""
