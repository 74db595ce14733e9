"""The hand-made tables of the system that this one replaces, as its users made them in a SQL console."""

SUPABASE_PARTS = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN CREATE ROLE anon NOLOGIN NOINHERIT; END IF;
END $$;
CREATE SCHEMA IF NOT EXISTS auth;
GRANT USAGE ON SCHEMA auth TO PUBLIC;
CREATE OR REPLACE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS
  $$ SELECT coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;
"""
"""What the policies below need, where Supabase has not made it."""

MODELS = """
CREATE TABLE llm_models (
  id SERIAL PRIMARY KEY,
  matcha_llm_id INTEGER UNIQUE NOT NULL,
  model_name TEXT NOT NULL,
  model_key TEXT NOT NULL,
  provider TEXT NOT NULL,
  capabilities JSONB DEFAULT '{}',
  is_active BOOLEAN DEFAULT true,
  is_default BOOLEAN DEFAULT false,
  display_order INTEGER DEFAULT 0,
  created_at TIMESTAMPTZ DEFAULT now(),
  updated_at TIMESTAMPTZ DEFAULT now(),
  last_synced_at TIMESTAMPTZ DEFAULT now()
);
"""

INDEXES_AND_POLICIES = """
CREATE INDEX idx_llm_models_matcha_id ON llm_models (matcha_llm_id);
CREATE INDEX idx_llm_models_active ON llm_models (is_active);
ALTER TABLE llm_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Anyone can read active models" ON llm_models FOR SELECT TO authenticated USING (is_active);
CREATE POLICY "Service role can manage models" ON llm_models FOR ALL USING (auth.jwt() ->> 'role' = 'service_role');
GRANT ALL ON llm_models TO anon, authenticated, service_role;
"""

ROWS = """
INSERT INTO llm_models (matcha_llm_id, model_name, model_key, provider, capabilities, is_active, is_default,
  display_order, created_at)
VALUES
  (28, 'Claude 3.7 Sonnet', 'claude-3-7-sonnet', 'anthropic',
   '{"context_window": 200000, "supports_vision": false, "supports_tools": true}', true, false, 1, '2025-12-07Z'),
  (25, 'Claude 3.5 Sonnet', 'claude-3-5-sonnet', 'anthropic', '{}', true, false, 2, '2025-12-07Z'),
  (30, 'Claude Opus 4.1', 'claude-3-opus-4-1', 'anthropic', '{}', false, false, 3, '2025-12-07Z'),
  (40, 'GPT-4o', 'gpt-4o', 'openai', '{"context_window": 111111}', true, true, 9, '2025-12-07Z'),
  (68, 'GPT-5 Mini', 'our-small-one', 'openai', '{}', true, false, 0, '2026-01-05Z');
"""

USAGE = """
CREATE TABLE llm_usage_stats (
  id SERIAL PRIMARY KEY,
  model_key TEXT NOT NULL,
  request_count INTEGER DEFAULT 0,
  last_used TIMESTAMPTZ DEFAULT now()
);
INSERT INTO llm_usage_stats (model_key, request_count, last_used) VALUES
  ('gpt-4o', 41, now() - interval '2 days'), ('claude-3-7-sonnet', 7, now() - interval '90 days');
"""

WHOLE = MODELS + INDEXES_AND_POLICIES + ROWS + USAGE
