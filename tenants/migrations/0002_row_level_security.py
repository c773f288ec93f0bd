from django.db import migrations

# A tenant's role sees its own tenant, its domains, its memberships and its members: no more.
POLICIES = """
CREATE FUNCTION public.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  AS 'SELECT id FROM public.tenants_tenant WHERE role_name = current_user';

ALTER TABLE public.tenants_tenant ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON public.tenants_tenant USING (role_name = current_user);

ALTER TABLE public.tenants_domain ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_domains ON public.tenants_domain USING (tenant_id = (SELECT public.current_tenant()));

ALTER TABLE public.tenants_membership ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_memberships ON public.tenants_membership USING (tenant_id = (SELECT public.current_tenant()));

ALTER TABLE public.tenants_user ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_members ON public.tenants_user
  USING (id IN (SELECT user_id FROM public.tenants_membership));
"""

UNDO = """
DROP POLICY own_members ON public.tenants_user;
DROP POLICY own_memberships ON public.tenants_membership;
DROP POLICY own_domains ON public.tenants_domain;
DROP POLICY own_tenant ON public.tenants_tenant;
ALTER TABLE public.tenants_user DISABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants_membership DISABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants_domain DISABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants_tenant DISABLE ROW LEVEL SECURITY;
DROP FUNCTION public.current_tenant();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [migrations.RunSQL(POLICIES, UNDO)]
