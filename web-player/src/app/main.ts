import { mount } from 'svelte';
import '../styles/base.css';
import App from './App.svelte';
import { applyTheme, storedTheme } from './theme';

applyTheme(storedTheme());
const target = document.getElementById('app');
if (target === null) throw new Error('index.html has no #app');
mount(App, { target });
