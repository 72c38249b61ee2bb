"""The comparer: a small server that a mirror step sends its copies to, and that counts where the answers differ."""
