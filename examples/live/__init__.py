"""An order page that is live: `app` is the web app, and `page.html` what the browser shows."""
