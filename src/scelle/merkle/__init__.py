"""Hash RFC 6962 trees and prove inclusion, consistency and ranges in them; pure functions on flat buffers."""
