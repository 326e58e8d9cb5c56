import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // a strict Content-Security-Policy has no room for data: URLs
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600, // hls.js, which only a fallback loads
  },
  server: {
    // `npm run dev` beside a running server (or `npm run mock`).
    proxy: {
      '/api': { target: process.env.SWIFTWATER_URL ?? 'http://127.0.0.1:8080', ws: true },
      '/hls': process.env.SWIFTWATER_URL ?? 'http://127.0.0.1:8080',
      '/vod': process.env.SWIFTWATER_URL ?? 'http://127.0.0.1:8080',
      '/whip': process.env.SWIFTWATER_URL ?? 'http://127.0.0.1:8080',
      '/whep': process.env.SWIFTWATER_URL ?? 'http://127.0.0.1:8080',
    },
  },
  test: { include: ['test/**/*.test.{ts,mjs}'], environment: 'node' },
});
