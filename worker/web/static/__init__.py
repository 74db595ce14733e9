"""What a browser loads: a package only so that an installation carries these files."""
